// Sends 200 requests at the same time over one HTTP/2 connection, and prints how many
// were answered with which status, and the trailers of one answer.

import http2 from "node:http2";

const session = http2.connect(process.argv[2]);
session.on("error", (error) => { throw error; });

function get(path) {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ":path": path });
    const answer = { bytes: 0, trailers: {} };
    stream.on("response", (head) => { answer.status = head[":status"]; });
    stream.on("trailers", (trailers) => { answer.trailers = { ...trailers }; });
    stream.on("data", (data) => { answer.bytes += data.length; });
    stream.on("end", () => resolve(answer));
    stream.on("error", reject);
  });
}

const answers = await Promise.all(Array.from({ length: 200 }, () => get("/")));
const statuses = {};
for (const { status } of answers) statuses[status] = (statuses[status] ?? 0) + 1;
if (answers.some(({ bytes }) => bytes === 0)) throw new Error("an answer without a body");
console.log(JSON.stringify({ statuses, trailers: answers[0].trailers }));
session.close();
