import { create, type DescMessage, type DescMethodUnary, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { useMutation } from "@connectrpc/connect-query";
import { Alert } from "@mantine/core";
import { useRef, useState, type FormEvent, type ReactNode } from "react";
import { asPerson } from "../captcha";
import { fieldErrorsOf, reasonOf, textOf, type ReasonName } from "../errors";
import { Cancelled, guarded } from "../reauthentication";

/** What a form shows and does. */
export interface Form<I extends DescMessage> {
  /** The present value of a field, with what changes it, and what is wrong with it. */
  field(name: keyof MessageInitShape<I> & string): { name: string; value: string; onChange: (event: { currentTarget: { value: string } }) => void; error?: string };
  set(values: MessageInitShape<I>): void;
  values: MessageInitShape<I>;
  submit(event?: FormEvent): Promise<void>;
  /** Sends the form with values that have only just been given. */
  submitWith(values: MessageInitShape<I>): Promise<void>;
  pending: boolean;
  /** What is wrong with the form as a whole. */
  failure: ReactNode;
}

/**
 * A form of a method's request: what its fields may hold is said by the rules of the
 * schema alone, which are read when the form is first sent, and by the server. Where the
 * server asks who the caller is, or whether a person, a dialog does, and the form is sent
 * again.
 *
 * @param reasons - what failures are called here, where that is not what they are elsewhere
 */
export function useForm<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  initial: MessageInitShape<I>,
  done: (answer: MessageShape<O>, sent: MessageInitShape<I>) => unknown,
  reasons: Partial<Record<ReasonName, string>> = {},
): Form<I> {
  const [values, setValues] = useState<Record<string, unknown>>(initial as Record<string, unknown>);
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [failure, setFailure] = useState<string>();
  const [checking, setChecking] = useState(false);
  const shown = useRef(new Set<string>()); // fields that tell themselves what is wrong with them
  const { mutateAsync, isPending } = useMutation(method);
  const send = async (values: MessageInitShape<I>) => {
    setFailure(undefined);
    setErrors({});
    setChecking(true);
    try {
      const { violationsOf } = await import("../rules");
      const wrong = violationsOf(method.input, create(method.input, values));
      if (Object.keys(wrong).length === 0) {
        await done(await guarded(() => asPerson(method, () => mutateAsync(values))), values);
        return;
      }
      show(wrong, wrong[""]);
    } catch (error) {
      if (!(error instanceof Cancelled)) {
        const reason = reasonOf(error);
        show(fieldErrorsOf(error), (reason && reasons[reason]) ?? textOf(error));
      }
    } finally {
      setChecking(false);
    }
  };
  // What is wrong with a field that the form does not show is wrong with the form.
  const show = (wrong: Record<string, string>, whole: string | undefined) => {
    setErrors(wrong);
    const hidden = Object.entries(wrong).find(([name]) => !shown.current.has(name));
    setFailure(Object.keys(wrong).length === 0 ? whole : hidden?.[1]);
  };
  return {
    values: values as MessageInitShape<I>,
    set: (more) => setValues((before) => ({ ...before, ...(more as Record<string, unknown>) })),
    field: (name) => {
      shown.current.add(name);
      return {
        name,
        value: String(values[name] ?? ""),
        onChange: ({ currentTarget: { value } }) => {
          setValues((before) => ({ ...before, [name]: value }));
          setErrors(({ [name]: _, ...others }) => others);
        },
        ...(errors[name] === undefined ? {} : { error: errors[name] }),
      };
    },
    pending: isPending || checking,
    failure: failure !== undefined && (
      <Alert color="red" variant="light" role="alert">
        {failure}
      </Alert>
    ),
    submit: async (event) => {
      event?.preventDefault();
      await send(values as MessageInitShape<I>);
    },
    submitWith: async (more) => {
      const all = { ...values, ...(more as Record<string, unknown>) };
      setValues(all);
      await send(all as MessageInitShape<I>);
    },
  };
}
