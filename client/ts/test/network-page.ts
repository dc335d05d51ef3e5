// A page whose functions the test of bad networks calls.
import { createManager } from "@logicspike/manager";

/** What the test calls in the page. */
const functions = { createManager };

/** The functions. */
export type Functions = typeof functions;

Object.assign(window, functions);
