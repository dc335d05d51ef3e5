import "./styles";
import { WorkspacePage } from "../../../components/workspace-page";
import { addReasons } from "../../../errors";
import { apiKeysTexts as texts } from "../../../texts/api-keys";
import { useWorkspace } from "../../../workspace";
import { Accounts } from "./accounts";
import { Keys } from "./keys";

addReasons(texts.reasons);

/** The API keys that a person may see, and the service accounts of the workspace. */
export function Page() {
  const { may } = useWorkspace();
  return (
    <WorkspacePage title={texts.title} text={texts.text} allowed={may("api_key.list")}>
      <Keys />
      {may("service_account.list") && <Accounts />}
    </WorkspacePage>
  );
}
