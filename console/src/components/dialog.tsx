import "@mantine/core/styles/Overlay.css";
import "@mantine/core/styles/ModalBase.css";
import "@mantine/core/styles/Modal.css";
import { Modal, type ModalProps } from "@mantine/core";
import type { ReactNode } from "react";
import { texts } from "../texts";

/** A dialog over the page: render it while it is open. The focus is in it, and goes back. */
export function Dialog({ title, close, size = "md", children, ...more }: { title: string; close: () => void; children: ReactNode } & Partial<ModalProps>) {
  return (
    <Modal opened onClose={close} title={title} size={size} closeButtonProps={{ "aria-label": texts.common.close }} {...more}>
      {children}
    </Modal>
  );
}
