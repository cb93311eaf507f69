// A SCADA by other people: a Modbus TCP master (modbus-serial) that raises one request and consumes its result.
//
// Its argument is JSON: {port, base, results, block: [registers after the number], sequence}. It says {"event": ...} for
// each step: raised, acknowledged, result (with its registers), consumed. Its own time-out is short; it tries for ever.
// With {pages, detail} it asks for every page between the last two, and says {"event": "pages", pages: [registers]}.
"use strict";
const ModbusRTU = require("modbus-serial");

const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const { port, base, results, block, sequence, pages, detail } = JSON.parse(process.argv[2]);

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
  if (pages) {
    const found = [];
    const after = results + 38;
    const size = 2 * detail + 19;
    const count = (await read(after + size - 2, 1))[0];
    for (let page = 1; page <= count; page += 1) {
      await master.writeRegister(pages, page);
      let registers;
      do { registers = await read(after, size); } while (registers[size - 1] !== page);
      found.push(registers);
    }
    say({ event: "pages", pages: found });
  }
  await master.writeRegister(base + 5, shown[1]);
  say({ event: "consumed" });
  master.close(() => process.exit(0));
}

main().catch((error) => { say({ event: "failed", reason: String(error.message || error) }); process.exit(1); });
