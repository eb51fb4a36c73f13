// A reference relay over Node and `ws`: `node relay_ws.mjs PORT MODEL_URL [FRAMES]`.
//
// The public Node sample's shape, which sets a mark behind each frame; with FRAMES, behind so many.
// `ws` is found beside the packages that `inv bench bridge --install` puts in its cache folder, named
// by TRUNKLINE_BENCH_PACKAGES.
import { createRequire } from "node:module";

const { WebSocket, WebSocketServer } = createRequire(process.env.TRUNKLINE_BENCH_PACKAGES)("ws");
const [port, url, frames = "1"] = process.argv.slice(2);
const framesAMark = Number(frames);

const session = {
  type: "session.update",
  session: {
    type: "realtime",
    output_modalities: ["audio"],
    audio: {
      input: { format: { type: "audio/pcmu" }, turn_detection: { type: "server_vad" } },
      output: { format: { type: "audio/pcmu" }, voice: "marin" },
    },
    instructions: "You answer the phone.",
  },
};

const server = new WebSocketServer({ host: "127.0.0.1", port: Number(port), perMessageDeflate: false });

server.on("connection", (phone) => {
  let stream = null;
  let latest = 0;
  let item = null;
  let began = null;
  let sent = 0;
  const marks = [];
  const model = new WebSocket(url, {
    perMessageDeflate: false,
    headers: { Authorization: "Bearer none" },
  });
  model.on("open", () => model.send(JSON.stringify(session)));
  model.on("message", (data) => {
    const event = JSON.parse(data);
    if (event.type !== "response.output_audio.delta" || stream === null) return;
    phone.send(JSON.stringify({ event: "media", streamSid: stream, media: { payload: event.delta } }));
    if (event.item_id !== item) {
      item = event.item_id;
      began = latest;
    }
    sent += 1;
    if (sent % framesAMark !== 0) return;
    phone.send(JSON.stringify({ event: "mark", streamSid: stream, mark: { name: "responsePart" } }));
    marks.push("responsePart");
  });
  model.on("close", () => phone.close());
  model.on("error", () => phone.close());
  phone.on("message", (data) => {
    const message = JSON.parse(data);
    switch (message.event) {
      case "media":
        latest = Number(message.media.timestamp);
        if (model.readyState === WebSocket.OPEN)
          model.send(JSON.stringify({ type: "input_audio_buffer.append", audio: message.media.payload }));
        break;
      case "mark":
        marks.shift();
        break;
      case "start":
        stream = message.start.streamSid;
        break;
      case "stop":
        model.close();
        break;
    }
  });
  phone.on("close", () => model.close());
  phone.on("error", () => model.close());
});
process.on("SIGTERM", () => process.exit(0));
