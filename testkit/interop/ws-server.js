// A server of npm's `ws` that sends everything back, for a proxy in front of it. Tells its port, and what it hears of.
import { WebSocketServer } from "ws";
import { tell } from "./puppet.js";

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: { threshold: 0 } });
server.on("listening", () => tell({ port: server.address().port }));
server.on("connection", (socket, request) => {
  tell({ connection: request.url, forwarded: request.headers["x-forwarded-for"] });
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  socket.on("close", (code) => tell({ close: code }));
});
