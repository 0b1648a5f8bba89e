import { Session } from "./auth.service";

/** Lets a request through while its session has not expired. */
export class AuthGuard {
  constructor(
    private readonly sessions: ReadonlyMap<string, Session>,
    private readonly now: () => number = Date.now,
    /** Clocks of two servers differ; a session is refused only past this much. */
    private readonly toleranceMs = 2_000,
  ) {}

  allows(accessToken: string): boolean {
    const session = this.sessions.get(accessToken);
    return session !== undefined && this.now() < session.expiresAt + this.toleranceMs;
  }
}
