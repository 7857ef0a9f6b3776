// Answers every HTTP/2 request at once with 1 KB:  node http2_target.js [CERT KEY]  prints "port N"
const body = Buffer.alloc(1024, "x");
const http2 = require("http2"), [cert, key] = process.argv.slice(2).map((f) => require("fs").readFileSync(f));
const server = cert ? http2.createSecureServer({ cert, key }) : http2.createServer();
server.on("stream", (stream) => {
  stream.on("error", () => {});
  stream.respond({ ":status": 200 });
  stream.end(body);
});
server.listen(0, "127.0.0.1", () => console.log("port", server.address().port));
