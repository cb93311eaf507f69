// A plant by other people: an OPC UA server (node-opcua) with a mailbox of nodes, for the tests.
//
// Its argument is JSON: {port, folder, nodes: {name: [type, value, writable]}}. It says {"event": "listening"} when it
// listens, {"event": "changed", name, value} for each value that a client wrote, and takes {"set": {name: value}} lines.
"use strict";
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { OPCUAServer } = require("node-opcua-server");
const { DataType, Variant } = require("node-opcua-variant");
const readline = require("node:readline");

const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");

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
  await server.start();
  say({ event: "listening", namespace: own.index });
  readline.createInterface({ input: process.stdin }).on("line", (line) => {
    for (const [name, value] of Object.entries(JSON.parse(line).set)) variables[name](value);
  });
}

main().catch((error) => { say({ event: "failed", reason: String(error.stack || error) }); process.exit(1); });
