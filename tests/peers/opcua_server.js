// A plant by other people: an OPC UA server (node-opcua) with a mailbox of nodes, for the tests.
//
// Its argument is JSON: {port, folder, nodes: {name: [type, value, writable]}}. It says {"event": "listening"} when it
// listens, {"event": "changed", name, value} for each value that a client wrote, and takes {"set": {name: value}} lines.
//
// Its object SMP has a method Told(number, state, text), of which it says {"event": "called", arguments}, and which answers
// what {"answer": STATUS} said. It tells events of UnitReadyEventType on {"happens": {message, ExportLimit}}, and of a
// condition, which stays so, on {"alarm": message}; each of these it says to be {"event": "done"}.
"use strict";
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { OPCUAServer } = require("node-opcua-server");
const { StatusCodes } = require("node-opcua-status-code");
const { DataType, Variant } = require("node-opcua-variant");
const readline = require("node:readline");

const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");

function smp(space, own) {
  space.installAlarmsAndConditionsService();
  const object = own.addObject({
    organizedBy: space.rootFolder.objects, browseName: "SMP", nodeId: "s=SMP", eventNotifier: 1, notifierOf: space.rootFolder.objects.server,
  });
  let answer = StatusCodes.Good;
  const declared = [["number", DataType.UInt32], ["state", DataType.String], ["text", DataType.LocalizedText]];
  const method = own.addMethod(object, {
    browseName: "Told", nodeId: "s=SMP.Told", inputArguments: declared.map(([name, dataType]) => ({ name, dataType })), outputArguments: [],
  });
  method.bindMethod((given, _context, done) => {
    say({ event: "called", arguments: given.map((one) => one.value.text === undefined ? one.value : one.value.text || "") });
    done(null, { statusCode: answer, outputArguments: [] });
  });
  const kind = own.addEventType({ browseName: "UnitReadyEventType", nodeId: "s=UnitReadyEventType", subtypeOf: "BaseEventType" });
  own.addVariable({ propertyOf: kind, browseName: "ExportLimit", dataType: "Float", modellingRule: "Mandatory" });
  const finer = own.addEventType({ browseName: "SoonReadyEventType", subtypeOf: kind });
  const source = own.addObject({ componentOf: object, browseName: "Breaker", eventSourceOf: object });
  const condition = own.instantiateCondition("AcknowledgeableConditionType", {
    browseName: "Held", componentOf: object, conditionSource: source,
  });
  return {
    answer: (name) => { answer = StatusCodes[name]; },
    happens: ({ message, ExportLimit, subtype }) => object.raiseEvent(subtype ? finer : kind, {
      message: { dataType: DataType.LocalizedText, value: { text: message } }, exportLimit: { dataType: DataType.Float, value: ExportLimit },
    }),
    alarm: (message) => {
      condition.raiseNewCondition({ message, severity: 700, retain: true });
    },
  };
}

async function main() {
  const { port, folder, nodes } = JSON.parse(process.argv[2]);
  const serverCertificateManager = new OPCUACertificateManager({ rootFolder: folder, automaticallyAcceptUnknownCertificate: true });
  await serverCertificateManager.initialize();
  const server = new OPCUAServer({ port, hostname: "127.0.0.1", serverCertificateManager, userCertificateManager: serverCertificateManager });
  await server.initialize();
  const space = server.engine.addressSpace;
  const own = space.registerNamespace("urn:peer:plant");
  const values = {};
  const variables = {};
  for (const [name, [type, value, writable]] of Object.entries(nodes)) {
    values[name] = value;
    const variable = own.addVariable({
      organizedBy: space.rootFolder.objects,
      browseName: name,
      nodeId: `s=Plant.${name}`,
      dataType: type,
      accessLevel: writable ? "CurrentRead | CurrentWrite" : "CurrentRead",
      userAccessLevel: writable ? "CurrentRead | CurrentWrite" : "CurrentRead",
    });
    const put = (raw) => variable.setValueFromSource(new Variant({ dataType: DataType[type], value: raw }));
    put(value);
    variable.on("value_changed", (data) => {
      if (data.value.value !== values[name]) {
        values[name] = data.value.value;
        say({ event: "changed", name, value: data.value.value });
      }
    });
    variables[name] = (raw) => { values[name] = raw; put(raw); };
  }
  const program = smp(space, own);
  await server.start();
  say({ event: "listening", namespace: own.index });
  readline.createInterface({ input: process.stdin }).on("line", (line) => {
    const order = JSON.parse(line);
    for (const [name, value] of Object.entries(order.set || {})) variables[name](value);
    for (const word of ["answer", "happens", "alarm"]) if (word in order) { program[word](order[word]); say({ event: "done" }); }
  });
}

main().catch((error) => { say({ event: "failed", reason: String(error.stack || error) }); process.exit(1); });
