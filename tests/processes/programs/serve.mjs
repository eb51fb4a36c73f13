// A plain Node web server: serve.mjs, listening on PORT.
import { createServer } from "node:http";

const server = createServer((request, response) => response.end("ok"));
server.listen(Number(process.env.PORT), () => console.log(`listening on ${process.env.PORT}`));
process.on("SIGTERM", () => server.close(() => process.exit(0)));
