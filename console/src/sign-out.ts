import { AuthenticationService } from "@gen/auth/v1/authentication_pb";
import { call } from "./api";
import { tellFailure } from "./components/toasts";
import { isReason } from "./errors";
import { person } from "./person";

/** Ends the session, if it has not ended by itself, and begins anew: nothing of the person stays in the page's memory. */
export async function signOut(): Promise<void> {
  try {
    await call(AuthenticationService.method.signOut, {});
  } catch (error) {
    if (!isReason(error, "SESSION_REQUIRED")) {
      tellFailure(error);
      return;
    }
  }
  person.left();
  window.location.assign("/sign-in");
}
