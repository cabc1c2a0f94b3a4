// Parses AsyncAPI documents with every $ref resolved from the file system; one JSON line for each.
const { Parser, fromFile } = require("@asyncapi/parser");

async function main(paths) {
  for (const path of paths) {
    const { document, diagnostics } = await fromFile(new Parser(), path).parse();
    const messages = document ? document.allMessages().all() : [];
    console.log(
      JSON.stringify({
        path,
        diagnostics: diagnostics.map(({ severity, code, message, path }) => ({ severity, code, message, path })),
        operations: document ? document.allOperations().all().map((each) => each.id()) : [],
        messages: messages.map((each) => ({
          name: each.name(),
          fields: Object.keys(each.payload()?.json().properties ?? {}),
          headers: each.headers()?.json().allOf.flatMap((part) => Object.keys(part.properties ?? {})) ?? [],
          correlation: each.correlationId()?.location(),
        })),
      }),
    );
  }
}

main(process.argv.slice(2));
