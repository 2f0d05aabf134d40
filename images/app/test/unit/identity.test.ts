import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { identityKeys } from '../../src/identity.ts';
import { S3 } from '../../src/s3.ts';
import { fakeS3, memoryLog } from './fakes.ts';

type Answer = { status: number; body: string };

/** A cloud that gives keys: what it was asked, and what it answers next. */
async function cloud(t: TestContext, variables: (address: string, token: string) => NodeJS.ProcessEnv) {
  const asked: { path: string; authorization: string | undefined; form: URLSearchParams }[] = [];
  const next: { answer: Answer } = { answer: { status: 500, body: '' } };
  const server = http.createServer(async (request, response) => {
    const form = new URLSearchParams(Buffer.concat(await request.toArray()).toString());
    asked.push({ path: request.url as string, authorization: request.headers.authorization, form });
    response.writeHead(next.answer.status).end(next.answer.body);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const token = join(mkdtempSync(join(tmpdir(), 'identity-')), 'token');
  writeFileSync(token, 'a-token');
  const given = variables(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, token);
  Object.assign(process.env, given);
  t.after(() => {
    for (const name of Object.keys(given)) delete process.env[name];
    server.close();
    server.closeAllConnections();
  });
  return { asked, next, token };
}

const ROLE = 'arn:aws:iam::123456789012:role/shop';
const sts = (address: string, token: string) => ({
  AWS_ENDPOINT_URL_STS: address,
  AWS_ROLE_ARN: ROLE,
  AWS_WEB_IDENTITY_TOKEN_FILE: token,
});
const agent = (address: string, token: string) => ({
  AWS_CONTAINER_CREDENTIALS_FULL_URI: `${address}/v1/credentials`,
  AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: token,
});
const ofRole = (id: string, expiration: Date): Answer => ({
  status: 200,
  body: `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult>
    <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/shop/s</Arn><AssumedRoleId>A:s</AssumedRoleId></AssumedRoleUser>
    <Credentials>
      <AccessKeyId>${id}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>
      <SessionToken>session</SessionToken><Expiration>${expiration.toISOString()}</Expiration>
    </Credentials>
  </AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>`,
});
const inMinutes = (minutes: number) => new Date(Date.now() + minutes * 60_000);

test('a role is assumed with the token of the ServiceAccount, once for all who ask', async (t) => {
  const { asked, next } = await cloud(t, sts);
  next.answer = ofRole('role-keys', inMinutes(60));
  const keys = identityKeys('eu-1');
  const [first, second] = await Promise.all([keys(), keys()]);
  assert.equal(first, second);
  assert.equal((await keys()).accessKeyId, 'role-keys');
  assert.deepEqual([first.secretAccessKey, first.sessionToken], ['secret', 'session']);
  assert.equal(asked.length, 1);
  const { form, authorization } = asked[0] as (typeof asked)[0];
  assert.equal(form.get('Action'), 'AssumeRoleWithWebIdentity');
  assert.equal(form.get('RoleArn'), ROLE);
  assert.equal(form.get('WebIdentityToken'), 'a-token');
  assert.equal(form.get('RoleSessionName'), 'techshop-app');
  assert.equal(authorization, undefined);
});

test('the agent of the node is asked with the token of the pod', async (t) => {
  const { asked, next } = await cloud(t, agent);
  const Expiration = inMinutes(60).toISOString();
  const keys = { AccessKeyId: 'pod-keys', SecretAccessKey: 'secret', Token: 'session', Expiration };
  next.answer = { status: 200, body: JSON.stringify(keys) };
  const found = await identityKeys('eu-1')();
  assert.deepEqual([found.accessKeyId, found.sessionToken], ['pod-keys', 'session']);
  assert.deepEqual([asked[0]?.path, asked[0]?.authorization], ['/v1/credentials', 'a-token']);
});

test('keys are renewed before they end, with the token of then, and those of before serve meanwhile', async (t) => {
  const { asked, next, token } = await cloud(t, sts);
  next.answer = ofRole('old', inMinutes(4));
  const keys = identityKeys('eu-1');
  assert.equal((await keys()).accessKeyId, 'old');
  writeFileSync(token, 'a-newer-token');
  next.answer = {
    status: 403,
    body: '<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>',
  };
  assert.equal((await keys()).accessKeyId, 'old');
  next.answer = ofRole('new', inMinutes(60));
  assert.equal((await keys()).accessKeyId, 'new');
  assert.equal(asked.at(-1)?.form.get('WebIdentityToken'), 'a-newer-token');
});

test('keys that have ended are not used any more', async () => {
  const answers = [{ accessKeyId: 'a', secretAccessKey: 'b', expiration: inMinutes(-1) }];
  const keys = identityKeys('eu-1', async () => {
    const answer = answers.pop();
    if (!answer) throw new Error('away');
    return answer;
  });
  await keys();
  await assert.rejects(keys(), { message: 'the cloud gives no keys: away' });
});

test('a pod that no webhook saw is told so, and the shop sells on', async (t) => {
  const fake = await fakeS3();
  const { log, lines } = memoryLog();
  const s3 = new S3({ ...fake.config, keys: undefined }, log);
  t.after(() => {
    s3.close();
    fake.stop();
  });
  assert.match(await s3.health.check(), /no webhook saw this pod/);
  assert.equal(lines[0]?.msg, 'S3 is unavailable; trying again.');
  assert.deepEqual(fake.requests, []);
});

test('requests are signed with the keys of the identity and carry its session', async (t) => {
  const { next } = await cloud(t, sts);
  next.answer = ofRole('access', inMinutes(60));
  const fake = await fakeS3();
  const s3 = new S3({ ...fake.config, keys: undefined }, memoryLog().log);
  // The first check doesn't wait for as long as loading may take.
  await identityKeys('eu-1')();
  t.after(() => {
    s3.close();
    fake.stop();
  });
  assert.equal(await s3.health.check(), 'ok');
  await s3.put('a', { body: Buffer.from('b'), headers: {} });
  assert.equal(fake.objects.get('a')?.headers['x-amz-security-token'], 'session');
});
