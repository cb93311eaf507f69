// A site's EMS by other people: an OPC UA client (node-opcua) that calls our server, for the tests.
//
// Its argument is JSON: {port, folder}. It says {"event": "connected"}, then takes lines, one of
//   {"call": [message, id, payload]}     -> {"event": "answered", id, status, outputs}
//   {"write": [node, type, value]}       -> {"event": "wrote", node, status}
// and consumes every result that it is told: {"event": "result", sequence, id, state, text, json}. With {"hold": true} it
// leaves results unacknowledged until {"hold": false}.
"use strict";
const { AttributeIds, ClientMonitoredItem, ClientSubscription, DataType, MessageSecurityMode, OPCUAClient, SecurityPolicy, TimestampsToReturn } = require("node-opcua-client");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const readline = require("node:readline");

const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const node = (name) => `ns=2;s=${name}`;

async function main() {
  const { port, folder } = JSON.parse(process.argv[2]);
  const clientCertificateManager = new OPCUACertificateManager({ rootFolder: folder, automaticallyAcceptUnknownCertificate: true });
  await clientCertificateManager.initialize();
  const client = OPCUAClient.create({
    clientCertificateManager,
    endpointMustExist: false,
    securityMode: MessageSecurityMode.None,
    securityPolicy: SecurityPolicy.None,
    connectionStrategy: { maxRetry: 0 },
    keepSessionAlive: false,
  });
  client.on("connection_lost", () => process.exit(3));
  await client.connect(`opc.tcp://127.0.0.1:${port}`);
  const session = await client.createSession();
  let hold = false;
  let pending = 0;
  const acknowledge = async () => {
    const dataValue = { value: { dataType: DataType.UInt32, value: pending } };
    await session.write({ nodeId: node("SMP.Result.Acknowledge"), attributeId: AttributeIds.Value, value: dataValue });
  };
  const subscription = ClientSubscription.create(session, { requestedPublishingInterval: 20, requestedMaxKeepAliveCount: 10, requestedLifetimeCount: 100, publishingEnabled: true });
  const item = ClientMonitoredItem.create(subscription, { nodeId: node("SMP.Result.Sequence"), attributeId: AttributeIds.Value }, { samplingInterval: 10, queueSize: 10 }, TimestampsToReturn.Neither);
  item.on("changed", async (data) => {
    const sequence = data.value.value;
    if (!sequence) return;
    const names = ["Id", "State", "Text", "Json"];
    const read = await session.read(names.map((name) => ({ nodeId: node(`SMP.Result.${name}`), attributeId: AttributeIds.Value })));
    const [id, state, text, json] = read.map((each) => each.value.value);
    pending = sequence;
    say({ event: "result", sequence, id, state, text, json });
    if (!hold) await acknowledge();
  });
  say({ event: "connected" });
  const act = async (order) => {
    if ("hold" in order) {
      hold = order.hold;
      if (!hold && pending) await acknowledge();
    } else if (order.call) {
      const [message, id, payload] = order.call;
      const methodId = node(`SMP.Messages.${message}.Submit`);
      const inputArguments = [id, payload].map((value) => ({ dataType: DataType.String, value }));
      const result = await session.call({ objectId: node(`SMP.Messages.${message}`), methodId, inputArguments });
      say({ event: "answered", id, status: result.statusCode.name, outputs: (result.outputArguments || []).map((each) => each.value) });
    } else if (order.write) {
      const [name, type, value] = order.write;
      const status = await session.write({ nodeId: node(name), attributeId: AttributeIds.Value, value: { value: { dataType: DataType[type], value } } });
      say({ event: "wrote", node: name, status: status.name });
    }
  };
  readline.createInterface({ input: process.stdin }).on("line", (line) => {
    act(JSON.parse(line)).catch((error) => say({ event: "failed", reason: String(error.message || error).slice(0, 300) }));
  });
}

main().catch((error) => { say({ event: "failed", reason: String(error.stack || error) }); process.exit(1); });
