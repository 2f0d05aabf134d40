import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import dns from 'node:dns';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Unavailable } from '../../src/errors.ts';
import { S3 } from '../../src/s3.ts';
import { fakeS3, memoryLog } from './fakes.ts';

type Fake = Awaited<ReturnType<typeof fakeS3>>;

async function client(t: TestContext, fake: Fake, change: Partial<Fake['config']> = {}, silenceMs?: number) {
  const { log, lines } = memoryLog();
  const s3 = new S3({ ...fake.config, ...change }, log, silenceMs);
  t.after(() => {
    s3.close();
    fake.stop();
  });
  return { s3, lines, state: await s3.health.check() };
}

const text = async (s3: S3, key: string) =>
  Buffer.concat((await (await s3.get(key))?.toArray()) ?? []).toString();

test('an object is written with its headers and read back, and one that is not there is undefined', async (t) => {
  const fake = await fakeS3();
  const { s3, state } = await client(t, fake);
  assert.equal(state, 'ok');
  await s3.put('a/b', { body: Buffer.from('content'), headers: { 'content-type': 'text/plain' } });
  assert.equal(fake.objects.get('a/b')?.headers['content-type'], 'text/plain');
  assert.equal(await text(s3, 'a/b'), 'content');
  assert.equal((await s3.get('a/b', 'HEAD'))?.headers['content-length'], '7');
  assert.equal(await s3.get('a/c'), undefined);
  assert.deepEqual(fake.requests.slice(0, 2), ['HEAD localhost/assets/', 'PUT localhost/assets/a/b']);
});

test('the bucket stands in the host name where the storage wants it there', async (t) => {
  const lookup = (_: string, { all }: dns.LookupOptions, done: (...answer: unknown[]) => void) =>
    all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4);
  const fake = await fakeS3();
  t.mock.method(dns, 'lookup', lookup as never);
  const { state } = await client(t, fake, { pathStyle: false });
  assert.equal(state, 'ok');
  assert.deepEqual(fake.requests, ['HEAD assets.localhost/']);
});

test('a connection that the server closed while nobody used it is replaced', async (t) => {
  const fake = await fakeS3();
  const { s3 } = await client(t, fake);
  for (let i = 0; i < 20; i++) {
    fake.closeIdle();
    assert.equal(await s3.get('none'), undefined);
  }
});

test('a storage that is trusted by certificates of its own', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 's3-'));
  const [key, cert] = [join(folder, 'key'), join(folder, 'cert')];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const names = ['-subj', '/CN=s3', '-addext', 'subjectAltName=DNS:localhost'];
  const { status } = spawnSync('openssl', ['req', '-x509', ...curve, ...names, '-keyout', key, '-out', cert]);
  assert.equal(status, 0);
  const fake = await fakeS3({ key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') });
  assert.equal((await client(t, fake)).state, 'ok');
  assert.match((await client(t, fake, { ca: undefined })).state, /self-signed certificate/);
});

test('refused keys, a missing bucket and one that does not answer are told, and nothing waits for them', async (t) => {
  const fake = await fakeS3();
  const refused = await client(t, fake, { keys: { accessKeyId: 'other', secretAccessKey: 'secret' } });
  assert.equal(refused.state, '403 for HEAD /assets/');
  assert.equal(refused.lines[0]?.msg, 'S3 refuses this user or its password; trying again.');
  await assert.rejects(refused.s3.get('a'), Unavailable);

  const { s3 } = await client(t, fake, {}, 100);
  fake.state.bucket = false;
  assert.equal(await s3.health.check(), '404 for HEAD /assets/');
  fake.state.broken = () => {};
  assert.equal(await s3.health.check(), 'no answer within 100 ms');
  await assert.rejects(
    s3.get('a'),
    (error) => error instanceof Unavailable && /100 ms/.test(String(error.cause)),
  );
  fake.stop();
  assert.match(await s3.health.check(), /ECONNREFUSED/);
});
