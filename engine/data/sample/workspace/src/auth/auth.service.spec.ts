import { AuthService } from "./auth.service";
import { MemoryTokenStore } from "./token.store";

describe("AuthService", () => {
  const store = () => new MemoryTokenStore(new Map([["ada", "correct"]]));

  it("refuses a wrong password", async () => {
    const auth = new AuthService(store());
    await expect(auth.signIn("ada", "wrong")).rejects.toThrow("wrong password");
  });

  it("gives a session that expires", async () => {
    const auth = new AuthService(store(), () => 1_000, 60_000);
    const session = await auth.signIn("ada", "correct");
    expect(session.expiresAt).toBe(61_000);
  });

  it("exchanges the refresh token once for two tabs at a time", async () => {
    const tokens = store();
    const auth = new AuthService(tokens);
    await auth.signIn("ada", "correct");
    const rotate = jest.spyOn(tokens, "rotateRefreshToken");
    const [first, second] = await Promise.all([auth.refresh("ada"), auth.refresh("ada")]);
    expect(first).toEqual(second);
    expect(rotate).toHaveBeenCalledTimes(1);
  });

  it("signs out everywhere when a token is used twice", async () => {
    const tokens = store();
    const auth = new AuthService(tokens);
    await auth.signIn("ada", "correct");
    jest.spyOn(tokens, "rotateRefreshToken").mockResolvedValue(false);
    await expect(auth.refresh("ada")).rejects.toThrow("used twice");
  });
});
