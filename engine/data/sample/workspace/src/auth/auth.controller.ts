import { AuthService, TokenReused } from "./auth.service";

interface Request {
  userId: string;
  body: { password?: string };
}

interface Response {
  status: number;
  body: unknown;
}

/** HTTP in front of `AuthService`. It decides status codes and nothing else. */
export class AuthController {
  constructor(private readonly auth: AuthService) {}

  async signIn(request: Request): Promise<Response> {
    try {
      const session = await this.auth.signIn(request.userId, request.body.password ?? "");
      return { status: 200, body: session };
    } catch {
      return { status: 401, body: { error: "unknown user or wrong password" } };
    }
  }

  async refresh(request: Request): Promise<Response> {
    try {
      return { status: 200, body: await this.auth.refresh(request.userId) };
    } catch (error) {
      if (error instanceof TokenReused) {
        return { status: 403, body: { error: "signed out everywhere: token used twice" } };
      }
      return { status: 500, body: { error: "try again" } };
    }
  }

  async signOut(request: Request): Promise<Response> {
    await this.auth.signOut(request.userId);
    return { status: 204, body: null };
  }
}
