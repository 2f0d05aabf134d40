import { readFileSync } from 'node:fs';
import { z } from 'zod';

export class ConfigError extends Error {}

const optional = z.string().optional();

const wholeNumber = (name: string, min: number, max: number, fallback: number) => {
  const error = `${name} must be a whole number from ${min} to ${max}.`;
  return z.coerce.number({ error }).int({ error }).min(min, { error }).max(max, { error }).default(fallback);
};

const RATIO = 'OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1.';

const environment = z
  .object({
    PORT: wholeNumber('PORT', 1, 65535, 3000),
    LOG_LEVEL: z
      .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace'], {
        error: 'LOG_LEVEL must be one of fatal, error, warn, info, debug and trace.',
      })
      .default('info'),
    MONGODB_URI: z
      .string({
        error: 'MONGODB_URI is missing: set it to something like mongodb://localhost:27017/techshop.',
      })
      .regex(/^mongodb(\+srv)?:\/\/[^/@\s]+\/[^/?@\s]+(\?\S*)?$/, {
        error:
          'MONGODB_URI must look like mongodb://host:27017/techshop?replicaSet=rs0, with no user name or password in it.',
      }),
    MONGODB_USERNAME: optional,
    MONGODB_PASSWORD: optional,
    REDIS_URL: z
      .string({ error: 'REDIS_URL is missing: set it to something like redis://localhost:6379.' })
      .regex(/^rediss?:\/\/(\[[0-9a-fA-F:]+\]|[^/@:\s]+)(:\d{1,5})?\/?$/, {
        error: 'REDIS_URL must look like redis://host:6379, with no user name or password in it.',
      }),
    REDIS_CA_FILE: optional,
    REDIS_USERNAME: optional,
    REDIS_PASSWORD: optional,
    JWT_SECRET: z
      .string({ error: 'JWT_SECRET is missing: set it to at least 32 random characters.' })
      .min(32, { error: 'JWT_SECRET must have at least 32 characters.' }),
    S3_ENDPOINT: z
      .string()
      .regex(/^https?:\/\/[^/@\s?#]+(\/[^@\s?#]*)?$/, {
        error: 'S3_ENDPOINT must look like https://s3.example.com, with no keys in it.',
      })
      .optional(),
    S3_BUCKET: z
      .string()
      .regex(/^[a-z0-9][a-z0-9.-]+$/, { error: 'S3_BUCKET must be the name of a bucket.' })
      .optional(),
    S3_REGION: z.string().default('us-east-1'),
    S3_PATH_STYLE: z
      .enum(['true', 'false'], { error: 'S3_PATH_STYLE must be true or false.' })
      .default('true'),
    S3_IDENTITY: z
      .enum(['keys', 'serviceAccount'], { error: 'S3_IDENTITY must be keys or serviceAccount.' })
      .default('keys'),
    S3_ACCESS_KEY: optional,
    S3_SECRET_KEY: optional,
    S3_CA_FILE: optional,
    UPLOAD_TOKEN: z.string().min(32, { error: 'UPLOAD_TOKEN must have at least 32 characters.' }).optional(),
    DRAIN_SECONDS: wholeNumber('DRAIN_SECONDS', 0, 300, 5),
    OTEL_EXPORTER_OTLP_ENDPOINT: z
      .url({
        protocol: /^https?$/,
        error: 'OTEL_EXPORTER_OTLP_ENDPOINT must be an http or https address, like http://jaeger:4318.',
      })
      .optional(),
    OTEL_TRACES_SAMPLER_ARG: z.coerce.number({ error: RATIO }).min(0, RATIO).max(1, RATIO).default(1),
  })
  .refine((env) => !env.MONGODB_USERNAME === !env.MONGODB_PASSWORD, {
    error: 'MONGODB_USERNAME and MONGODB_PASSWORD must be set together.',
  })
  .refine((env) => !env.REDIS_USERNAME || env.REDIS_PASSWORD, {
    error: 'REDIS_USERNAME needs REDIS_PASSWORD.',
  })
  // Keys alone are what an object storage that was taken away leaves.
  .refine(
    (env) =>
      !env.S3_ENDPOINT === !env.S3_BUCKET &&
      (!env.S3_BUCKET || env.S3_IDENTITY === 'serviceAccount' || (env.S3_ACCESS_KEY && env.S3_SECRET_KEY)),
    {
      error:
        'S3_ENDPOINT, S3_BUCKET and, unless S3_IDENTITY is serviceAccount, S3_ACCESS_KEY and S3_SECRET_KEY must be set together.',
    },
  );

function readCertificates(name: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError(`${name} must name a file with certificates: ${(error as Error).message}.`);
  }
}

function s3Of(v: z.output<typeof environment>) {
  if (!v.S3_ENDPOINT || !v.S3_BUCKET) return undefined;
  const given = { accessKeyId: v.S3_ACCESS_KEY ?? '', secretAccessKey: v.S3_SECRET_KEY ?? '' };
  return {
    endpoint: v.S3_ENDPOINT,
    bucket: v.S3_BUCKET,
    pathStyle: v.S3_PATH_STYLE === 'true',
    region: v.S3_REGION,
    // Without keys of its own it takes those that the cloud gives to the pod's ServiceAccount.
    keys: v.S3_IDENTITY === 'keys' ? given : undefined,
    // The file is empty where the public authorities will do.
    ca: (v.S3_CA_FILE && readCertificates('S3_CA_FILE', v.S3_CA_FILE)) || undefined,
  };
}

/** The settings in the environment, or a ConfigError whose message never holds a value that was given. */
export function loadConfig(env: NodeJS.ProcessEnv) {
  // Charts and compose files write "not set" as an empty string.
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const parsed = environment.safeParse(given);
  if (!parsed.success) throw new ConfigError(parsed.error.issues.map((issue) => issue.message).join(' '));
  const v = parsed.data;
  const redis = new URL(v.REDIS_URL);
  return {
    port: v.PORT,
    logLevel: v.LOG_LEVEL,
    mongo: { uri: v.MONGODB_URI, username: v.MONGODB_USERNAME, password: v.MONGODB_PASSWORD },
    redis: {
      host: redis.hostname.replace(/^\[|\]$/g, ''),
      port: Number(redis.port || 6379),
      tls: redis.protocol === 'rediss:',
      ca: v.REDIS_CA_FILE && readCertificates('REDIS_CA_FILE', v.REDIS_CA_FILE),
      username: v.REDIS_USERNAME,
      password: v.REDIS_PASSWORD,
    },
    s3: s3Of(v),
    uploadToken: v.UPLOAD_TOKEN,
    jwtSecret: v.JWT_SECRET,
    drainSeconds: v.DRAIN_SECONDS,
    otlpEndpoint: v.OTEL_EXPORTER_OTLP_ENDPOINT,
    traceRatio: v.OTEL_TRACES_SAMPLER_ARG,
  };
}

export type Config = ReturnType<typeof loadConfig>;
