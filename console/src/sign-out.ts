import { AuthenticationService } from "@gen/auth/v1/authentication_pb";
import { call } from "./api";
import { tellFailure } from "./components/toasts";

/** Ends the session, and begins anew: nothing of the person stays in the page's memory. */
export async function signOut(): Promise<void> {
  try {
    await call(AuthenticationService.method.signOut, {});
    window.location.assign("/sign-in");
  } catch (error) {
    tellFailure(error);
  }
}
