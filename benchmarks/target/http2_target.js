// Answers every HTTP/2 request over plain TCP at once with 1 KB:  node http2_target.js  prints "port N"
const body = Buffer.alloc(1024, "x");
const server = require("http2").createServer();
server.on("stream", (stream) => {
  stream.on("error", () => {});
  stream.respond({ ":status": 200 });
  stream.end(body);
});
server.listen(0, "127.0.0.1", () => console.log("port", server.address().port));
