import { type DestinationStream, type Logger, pino } from 'pino';

export type Log = Logger;

export function createLog(level: string, destination?: DestinationStream): Log {
  return pino(
    {
      level,
      base: { service: 'techshop-app' },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      // Driver errors carry the command that failed, with session ids or AUTH arguments in it: log only these.
      serializers: {
        err: (err: Error & { code?: unknown }) => ({
          type: err.name,
          message: err.message,
          code: err.code,
          stack: err.stack,
        }),
      },
    },
    destination ?? pino.destination({ sync: true }),
  );
}
