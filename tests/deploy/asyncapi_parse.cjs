// Parses and validates an AsyncAPI document with AsyncAPI's own parser; prints its findings as JSON.
// Called by test_asyncapi.py: node asyncapi_parse.cjs NODE_MODULES DOCUMENT
const { readFileSync } = require('fs');
const [modules, path] = process.argv.slice(2);
const { Parser } = require(`${modules}/@asyncapi/parser`);

new Parser().parse(readFileSync(path, 'utf8')).then(({ document, diagnostics }) => {
  const channels = document ? document.channels().all() : [];
  console.log(JSON.stringify({
    diagnostics: diagnostics.map(
      ({ code, path, message }) => `${code} ${path.join('.')} ${message}`,
    ),
    channels: channels.map((channel) => channel.address()),
  }));
});
