// A plant by other people: a Modbus TCP server (modbus-serial) with holding registers, for the tests.
//
// Its argument is JSON: {port, registers: {address: value}}. It says {"event": "listening"} when it listens,
// {"event": "changed", address, value} for each register that a master wrote, and takes {"set": {address: value}} lines.
"use strict";
const ModbusRTU = require("modbus-serial");
const readline = require("node:readline");

const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const { port, registers } = JSON.parse(process.argv[2]);
const held = new Map(Object.entries(registers).map(([address, value]) => [Number(address), value]));

const server = new ModbusRTU.ServerTCP(
  {
    getHoldingRegister: (address) => held.get(address) ?? 0,
    getInputRegister: () => 7,
    getCoil: (address) => address === 2,
    setRegister: (address, value) => {
      held.set(address, value);
      say({ event: "changed", address, value });
    },
  },
  { host: "127.0.0.1", port, unitID: 1 },
);
server.on("initialized", () => say({ event: "listening" }));
server.on("serverError", (error) => say({ event: "failed", reason: String(error) }));
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  for (const [address, value] of Object.entries(JSON.parse(line).set)) held.set(Number(address), value);
});
