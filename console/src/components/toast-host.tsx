import "@mantine/core/styles/Notification.css";
import "@mantine/notifications/styles.css";
import { Notifications, notifications } from "@mantine/notifications";
import { texts } from "../texts";

/** Shows a toast. */
export function show(data: { message: string; color?: "red" }): void {
  notifications.show({ ...data, closeButtonProps: { "aria-label": texts.common.close } });
}

/** Where toasts appear. */
export default function Host() {
  return <Notifications position="bottom-right" />;
}
