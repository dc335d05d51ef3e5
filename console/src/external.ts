import { useEffect, useState } from "react";
import { useSearchParams } from "react-router";

/**
 * What an identity provider sent people back with: `external_sign_in_id` and
 * `result_token`, or `error`, in the query. What is secret leaves the address at once.
 */
export function useReturned(): { externalSignInId: string; resultToken: string; error: string | null } {
  const [search, setSearch] = useSearchParams();
  const [returned] = useState(() => ({
    externalSignInId: search.get("external_sign_in_id") ?? "",
    resultToken: search.get("result_token") ?? "",
    error: search.get("error"),
  }));
  useEffect(() => {
    const secret = ["external_sign_in_id", "result_token", "error"].filter((name) => search.has(name));
    if (secret.length > 0) {
      const to = search.get("to");
      setSearch(to === null ? {} : { to }, { replace: true });
    }
  }, [search, setSearch]);
  return returned;
}
