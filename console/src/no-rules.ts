import { fileDesc } from "@bufbuild/protobuf/codegenv2";

/**
 * Stands for the schema of the rules, which the generated files import and do not use: a
 * file of its name with nothing in it. Whoever reads rules (rules.ts) has the whole one.
 */
export const file_buf_validate_validate = fileDesc(btoa("\n\x1bbuf/validate/validate.proto\x12\x0cbuf.validate"));
