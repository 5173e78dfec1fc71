// The baseline of the benchmarks: WebSocket server, RabbitMQ producer, RabbitMQ consumer and database client in one
// Node.js process.
//
//   AMQP_URL, DATABASE_URL   URLs of RabbitMQ and PostgreSQL
//   PORT                     port for chargers (0: any free port); printed as "listening PORT"
//   REPLY                    "early": answer after the message is passed to the AMQP library;
//                            "confirmed": answer after RabbitMQ's confirm
//   PREFETCH, POOL           prefetch count of the consumer (100), database connections (10)
import { WebSocketServer } from "ws";
import amqp from "amqplib";
import pg from "pg";

const { AMQP_URL, DATABASE_URL, PORT = "0", REPLY = "confirmed", PREFETCH = "100", POOL = "10" } = process.env;
const QUEUE = "ocpp.messages";

const pool = new pg.Pool({ connectionString: DATABASE_URL, max: Number(POOL) });
await pool.query(`CREATE TABLE IF NOT EXISTS baseline_messages (
  id bigserial PRIMARY KEY, charger text NOT NULL, message_id text NOT NULL, action text NOT NULL,
  payload jsonb NOT NULL, received_at timestamptz NOT NULL)`);
await pool.query("CREATE INDEX IF NOT EXISTS baseline_messages_charger ON baseline_messages (charger, received_at)");

// Without noDelay, the confirm of a single message waits 40 ms for the kernel's delayed acknowledgement.
const connection = await amqp.connect(AMQP_URL, { noDelay: true });
const producer = await connection.createConfirmChannel();
const consumer = await connection.createChannel();
await producer.assertQueue(QUEUE, { durable: true });
await consumer.prefetch(Number(PREFETCH));

const publish = (message) =>
  new Promise((resolve, reject) =>
    producer.sendToQueue(QUEUE, Buffer.from(JSON.stringify(message)), { persistent: true }, (error) =>
      error ? reject(error) : resolve(),
    ),
  );

await consumer.consume(QUEUE, async (delivery) => {
  if (!delivery) return;
  const { charger, id, action, payload, receivedAt } = JSON.parse(delivery.content.toString());
  try {
    await pool.query({
      name: "store",
      text: `INSERT INTO baseline_messages (charger, message_id, action, payload, received_at)
             VALUES ($1, $2, $3, $4, $5)`,
      values: [charger, id, action, payload, receivedAt],
    });
    consumer.ack(delivery);
  } catch (error) {
    console.error("failed to store", error.message);
    consumer.nack(delivery);
  }
});

let transactions = 0;
const answer = (action) => {
  const now = new Date().toISOString();
  switch (action) {
    case "BootNotification":
      return { status: "Accepted", currentTime: now, interval: 300 };
    case "Heartbeat":
      return { currentTime: now };
    case "Authorize":
    case "StopTransaction":
      return { idTagInfo: { status: "Accepted" } };
    case "StartTransaction":
      return { transactionId: ++transactions, idTagInfo: { status: "Accepted" } };
    default:
      return {};
  }
};

const server = new WebSocketServer({
  port: Number(PORT),
  host: "127.0.0.1",
  handleProtocols: (offered) => (offered.has("ocpp1.6") ? "ocpp1.6" : false),
});
server.on("connection", (socket, request) => {
  const charger = decodeURIComponent(request.url.split("/").pop());
  socket.on("error", () => {});
  socket.on("message", async (data) => {
    const [kind, id, action, payload] = JSON.parse(data.toString());
    if (kind !== 2) return;
    const published = publish({ charger, id, action, payload, receivedAt: new Date().toISOString() });
    if (REPLY === "confirmed") await published;
    else published.catch((error) => console.error("failed to publish", error.message));
    socket.send(JSON.stringify([3, id, answer(action)]));
  });
});
server.on("listening", () => console.log(`listening ${server.address().port}`));
