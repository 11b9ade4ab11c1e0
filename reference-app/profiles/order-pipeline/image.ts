import type { ImageContent } from '../../services/bundle.ts';

/** The programs and database schemas of the order pipeline. */
export const ORDER_PIPELINE_IMAGE = {
  entries: {
    'several': 'shared/several.ts',
    'api-write-service': 'order-service/api-write-service/main.ts',
    'api-read-service': 'order-service/api-read-service/main.ts',
    'order-status': 'order-service/order-status/main.ts',
    'outbox-relay': 'outbox-relay/main.ts',
    'stock-service': 'stock-service/main.ts',
    'inventory-service': 'inventory-service/main.ts',
    'notification-service': 'notification-service/main.ts',
    'analytics-service': 'analytics-service/main.ts',
  },
  tools: { reconcile: 'reconcile/main.ts' },
  schemas: ['messaging', 'inventory', 'orders', 'notification', 'analytics'],
} as const satisfies ImageContent;
