// Lengthen the oplog at the end of an archive of mongodump, so that one mongorestore replays both: it then knows transactions
// and indexes that began in the archive, and builds unique indexes when all is there. Plain JavaScript, since what mongosh
// makes of a program is too slow for each byte of a backup.
//
// Reads the archive at 3 and the slices' documents one after the other at 5, and writes at 4. Each slice begins with the entry
// that the one before ends with: of SLICES, a file, each line holds the two, so that one that is missing or cut is noticed.
// What was written in the second LIMIT or later stays out; 0 leaves nothing out.
const fs = require('fs');

const ROOM = 1 << 20;
const TERMINATOR = 0xffffffff;
const OPLOG = Buffer.from('\x02db\0\x01\0\0\0\0\x02collection\0\x06\0\0\0oplog\0\x08EOF\0', 'latin1');
const CRC = Buffer.from('\x12CRC\0', 'latin1');

class Reader {
  constructor(file) {
    Object.assign(this, { file, bytes: Buffer.allocUnsafe(ROOM), at: 0, end: 0 });
  }

  // take(SIZE): the next bytes, which hold until the next call; null where the input ends.
  take(size) {
    if (this.end - this.at < size) {
      const { at, end, bytes } = this;
      if (size > bytes.length) this.bytes = Buffer.allocUnsafe(size);
      bytes.copy(this.bytes, 0, at, end);
      [this.at, this.end] = [0, end - at];
      while (this.end < size) {
        const read = fs.readSync(this.file, this.bytes, this.end, this.bytes.length - this.end, null);
        if (!read && !this.end) return null;
        if (!read) throw new Error('the archive or a slice ends too early');
        this.end += read;
      }
    }
    this.at += size;
    return this.bytes.subarray(this.at - size, this.at);
  }

  // document(): the next document, or terminator.
  document() {
    const head = this.take(4);
    if (!head) return null;
    this.at -= 4;
    const size = head.readUInt32LE();
    if (size !== TERMINATOR && (size < 5 || size > 17 << 20)) throw new Error('the archive or a slice is damaged');
    return this.take(size === TERMINATOR ? 4 : size);
  }
}

class Writer {
  constructor(file) {
    Object.assign(this, { file, bytes: Buffer.allocUnsafe(ROOM), end: 0 });
  }

  put(bytes) {
    if (this.end + bytes.length > ROOM) this.flush();
    if (bytes.length > ROOM) return this.write(bytes);
    this.end += bytes.copy(this.bytes, this.end);
  }

  write(bytes) {
    for (let at = 0; at < bytes.length;) at += fs.writeSync(this.file, bytes, at);
  }

  flush() {
    this.write(this.bytes.subarray(0, this.end));
    this.end = 0;
  }
}

// CRC-64 as in Go's package crc64 (ECMA), in two halves.
const table = new Uint32Array(512);
for (let byte = 0; byte < 256; byte++) {
  let value = BigInt(byte);
  for (let bit = 0; bit < 8; bit++) value = value & 1n ? (value >> 1n) ^ 0xc96c5795d7870f42n : value >> 1n;
  table[byte] = Number(value & 0xffffffffn);
  table[256 + byte] = Number(value >> 32n);
}
const sum = { low: ~0, high: ~0 };
function add(bytes) {
  let { low, high } = sum;
  for (let at = 0; at < bytes.length; at++) {
    const index = (low ^ bytes[at]) & 255;
    low = ((low >>> 8) | (high << 24)) ^ table[index];
    high = (high >>> 8) ^ table[256 + index];
  }
  Object.assign(sum, { low, high });
}

// Bytes that a value of each type has, beside those that say how long it is themselves.
const fixed = { 1: 8, 6: 0, 7: 12, 8: 1, 9: 8, 10: 0, 16: 4, 17: 8, 18: 8, 19: 16, 255: 0, 127: 0 };
const counted = { 2: 4, 3: 0, 4: 0, 5: 5, 13: 4, 14: 4, 15: 0 };
// moment(ENTRY): its `ts`, as seconds and ordinal.
function moment(entry) {
  for (let at = 4; entry[at];) {
    const type = entry[at];
    const value = entry.indexOf(0, at) + 1;
    if (type === 17 && entry.toString('latin1', at + 1, value - 1) === 'ts') {
      return [entry.readUInt32LE(value + 4), entry.readUInt32LE(value)];
    }
    const size = type in fixed ? fixed[type] : counted[type] + entry.readInt32LE(value);
    if (!(size >= 0)) break;
    at = value + size;
  }
  throw new Error('an entry of the oplog has no time');
}
const after = (a, b) => a[0] > b[0] || (a[0] === b[0] && a[1] > b[1]);
const same = (a, b) => a[0] === b[0] && a[1] === b[1];
const day = ([seconds]) => new Date(seconds * 1000).toISOString().replace('.000', '');

const limit = Number(process.env.LIMIT) || Infinity;
const wanted = fs.readFileSync(process.env.SLICES, 'utf8').split('\n').filter(Boolean)
  .map((line) => line.split(' ').map((time) => time.split('.').map(Number)));
const archive = new Reader(3);
const out = new Writer(4);
let last = null; // of the entries that were written
let beginning = null; // of a block of the oplog
let added = 0;

function append(entry) {
  add(entry);
  out.put(entry);
}

// Write the entries of the slices that come after the archive's.
function lengthen() {
  if (!last) throw new Error('the archive has no oplog');
  if (last[0] >= limit) throw new Error(`the backup ends at ${day(last)}, which is not before the moment: name an older one as BACKUP`);
  const slices = new Reader(5);
  for (const [from, to] of wanted) {
    if (after(from, last)) throw new Error(`no slice of the oplog has what was written after ${day(last)}`);
    for (let begun = false, at = null; !at || !same(at, to); begun = true) {
      const entry = slices.document();
      at = entry && moment(entry);
      if (!entry || (begun ? after(at, to) : !same(at, from))) {
        throw new Error(`the slice of the oplog ${from.join('.')}-${to.join('.')} can't be read, or isn't whole`);
      }
      if (at[0] >= limit) return;
      if (!after(at, last)) continue;
      if (!added) out.put(beginning);
      append(entry);
      last = at;
      added += 1;
    }
  }
}

function copy(entries) {
  for (;;) {
    const document = archive.document();
    if (!document) throw new Error('the archive ends too early');
    if (document.length === 4) return out.put(document);
    if (!entries) out.put(document);
    else {
      append(document);
      last = moment(document);
    }
  }
}

try {
  let ended = false;
  out.put(archive.take(4));
  copy(false);
  for (let head = archive.document(); head; head = archive.document()) {
    const oplog = head.indexOf(OPLOG) === 4;
    if (oplog && head[4 + OPLOG.length]) {
      const end = Buffer.from(head);
      lengthen();
      if (added) out.put(Buffer.from('ffffffff', 'hex'));
      const at = end.lastIndexOf(CRC) + CRC.length;
      end.writeInt32LE(~sum.low, at);
      end.writeInt32LE(~sum.high, at + 4);
      out.put(end);
      ended = true;
    } else {
      if (oplog) beginning = Buffer.from(head);
      out.put(head);
    }
    copy(oplog);
  }
  if (!ended) throw new Error('the archive ends too early, or has no oplog');
  out.flush();
  fs.writeSync(2, `with ${added} entries of the oplog after its own, up to ${day(last)}\n`);
} catch (error) {
  // Who reads no more knows better why.
  if (error.code !== 'EPIPE') fs.writeSync(2, `${error.message}\n`);
  process.exit(1);
}
