// A SCADA by other people: a Modbus TCP master (modbus-serial) that raises one request and consumes its result.
//
// Its argument is JSON: {port, base, results, block: [registers after the number], sequence}. It says {"event": ...} for
// each step: raised, acknowledged, result (with its registers), consumed. Its own time-out is short; it tries for ever.
"use strict";
const ModbusRTU = require("modbus-serial");

const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const { port, base, results, block, sequence } = JSON.parse(process.argv[2]);

async function main() {
  const master = new ModbusRTU();
  await master.connectTCP("127.0.0.1", { port });
  master.setID(1);
  master.setTimeout(1000);
  const read = async (address, count) => (await master.readHoldingRegisters(address, count)).data;
  await master.writeRegisters(base + 1, block);
  await master.writeRegister(base, sequence);
  say({ event: "raised" });
  while ((await read(results, 1))[0] !== sequence);
  say({ event: "acknowledged" });
  let shown;
  do { shown = await read(results, 38); } while (shown[2] !== sequence || shown[1] === 0);
  say({ event: "result", registers: shown });
  await master.writeRegister(base + 5, shown[1]);
  say({ event: "consumed" });
  master.close(() => process.exit(0));
}

main().catch((error) => { say({ event: "failed", reason: String(error.message || error) }); process.exit(1); });
