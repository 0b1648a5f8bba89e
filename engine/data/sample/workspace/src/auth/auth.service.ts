import { TokenStore } from "./token.store";

export interface Session {
  userId: string;
  accessToken: string;
  expiresAt: number;
}

export class TokenReused extends Error {
  constructor(userId: string) {
    super(`refresh token of ${userId} was used twice`);
  }
}

/** Signs users in and keeps their sessions alive. */
export class AuthService {
  private readonly running = new Map<string, Promise<Session>>();

  constructor(
    private readonly store: TokenStore,
    private readonly now: () => number = Date.now,
    private readonly lifetimeMs = 15 * 60 * 1000,
  ) {}

  async signIn(userId: string, password: string): Promise<Session> {
    if (!(await this.store.verify(userId, password))) {
      throw new Error("unknown user or wrong password");
    }
    await this.store.issueRefreshToken(userId);
    return this.newSession(userId);
  }

  /**
   * Exchange the refresh token for a new session.
   *
   * Two tabs of one browser may ask at the same moment. The second must wait for the first: a
   * refresh token that is used twice counts as stolen, and the user is signed out everywhere.
   */
  async refresh(userId: string): Promise<Session> {
    const underWay = this.running.get(userId);
    if (underWay !== undefined) {
      return underWay;
    }
    const exchange = this.exchange(userId);
    this.running.set(userId, exchange);
    try {
      return await exchange;
    } finally {
      this.running.delete(userId);
    }
  }

  async signOut(userId: string): Promise<void> {
    await this.store.revoke(userId);
  }

  private async exchange(userId: string): Promise<Session> {
    const fresh = await this.store.rotateRefreshToken(userId);
    if (!fresh) {
      await this.store.revoke(userId);
      throw new TokenReused(userId);
    }
    return this.newSession(userId);
  }

  private newSession(userId: string): Session {
    return {
      userId,
      accessToken: this.store.sign(userId, this.now()),
      expiresAt: this.now() + this.lifetimeMs,
    };
  }
}
