REVOKE ALL ON SCHEMA fan_out FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL TABLES IN SCHEMA fan_out FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA fan_out FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL ROUTINES IN SCHEMA fan_out FROM PUBLIC, :command, :query;

GRANT USAGE ON SCHEMA fan_out TO :command;
GRANT SELECT, INSERT, UPDATE ON fan_out.progress, fan_out.orders, fan_out.order_minute, fan_out.notification TO :command;
GRANT EXECUTE ON FUNCTION fan_out.take, fan_out.save, fan_out.claim, fan_out.settle TO :command;
