import type { ImageContent } from '../../services/bundle.ts';

/** The programs and database schemas of the fan-out. */
export const FAN_OUT_IMAGE = {
  entries: {
    'order-consumer': 'fan-out/order-consumer/main.ts',
    'analytics-consumer': 'fan-out/analytics-consumer/main.ts',
    'notification-consumer': 'fan-out/notification-consumer/main.ts',
  },
  schemas: ['messaging', 'fan_out'],
} as const satisfies ImageContent;
