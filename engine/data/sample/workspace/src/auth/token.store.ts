/** Where refresh tokens are kept. One row for each user; rotation is a compare-and-swap. */
export interface TokenStore {
  verify(userId: string, password: string): Promise<boolean>;
  issueRefreshToken(userId: string): Promise<void>;
  /** False where the presented token is not the newest one: it has been used before. */
  rotateRefreshToken(userId: string): Promise<boolean>;
  revoke(userId: string): Promise<void>;
  sign(userId: string, at: number): string;
}

export class MemoryTokenStore implements TokenStore {
  private readonly generations = new Map<string, number>();

  constructor(private readonly passwords: ReadonlyMap<string, string>) {}

  async verify(userId: string, password: string): Promise<boolean> {
    return this.passwords.get(userId) === password;
  }

  async issueRefreshToken(userId: string): Promise<void> {
    this.generations.set(userId, 1);
  }

  async rotateRefreshToken(userId: string): Promise<boolean> {
    const generation = this.generations.get(userId);
    if (generation === undefined) {
      return false;
    }
    this.generations.set(userId, generation + 1);
    return true;
  }

  async revoke(userId: string): Promise<void> {
    this.generations.delete(userId);
  }

  sign(userId: string, at: number): string {
    return `${userId}.${at}.${this.generations.get(userId) ?? 0}`;
  }
}
