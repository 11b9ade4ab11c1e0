CREATE SCHEMA analytics;

-- Counted in the minute in which each thing happened.
CREATE TABLE analytics.order_minute (
  minute                  timestamptz      PRIMARY KEY,
  accepted                int              NOT NULL DEFAULT 0,
  confirmed               int              NOT NULL DEFAULT 0,
  rejected                int              NOT NULL DEFAULT 0,
  updated                 int              NOT NULL DEFAULT 0,
  cancelled               int              NOT NULL DEFAULT 0,
  expired                 int              NOT NULL DEFAULT 0,
  units_accepted          bigint           NOT NULL DEFAULT 0,
  units_confirmed         bigint           NOT NULL DEFAULT 0,
  units_rejected          bigint           NOT NULL DEFAULT 0,
  units_deducted          bigint           NOT NULL DEFAULT 0,
  -- Over the confirmed and rejected orders of the minute: divide by their count for the mean time to a decision.
  seconds_to_terminal_sum double precision NOT NULL DEFAULT 0,
  seconds_to_terminal_max double precision NOT NULL DEFAULT 0
) WITH (fillfactor = 20);

CREATE TABLE analytics.sku_minute (
  minute         timestamptz NOT NULL,
  sku            text        NOT NULL COLLATE "C",
  units_ordered  bigint      NOT NULL DEFAULT 0,
  units_reserved bigint      NOT NULL DEFAULT 0,
  units_deducted bigint      NOT NULL DEFAULT 0,
  rejections     int         NOT NULL DEFAULT 0,
  PRIMARY KEY (minute, sku)
) WITH (fillfactor = 50);
