// ws on node: the loop over clients of its documentation.
const {WebSocketServer, WebSocket} = require("ws");

const server = new WebSocketServer({host: "127.0.0.1", port: Number(process.argv[2]), perMessageDeflate: false});
const listeners = new Set();
const news = Array.from({length: 100}, (_, at) => ({number: at + 1, name: "ada", text: `what ada had to say, for the ${at + 1}th time`}));

server.on("connection", (socket) => {
  socket.on("message", (text) => {
    const request = JSON.parse(text);
    if (request.method === "SUBSCRIBE") {
      listeners.add(socket);
      socket.send('{"status":200}');
      return;
    }
    if (request.method === "GET") {
      socket.send(JSON.stringify({data: news, event_name: null}));
      return;
    }
    const message = JSON.stringify({event_name: "/news", data: request.data});
    for (const listener of listeners) if (listener.readyState === WebSocket.OPEN) listener.send(message);
  });
  socket.on("close", () => listeners.delete(socket));
});
