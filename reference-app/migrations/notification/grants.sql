REVOKE ALL ON SCHEMA notification FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL TABLES IN SCHEMA notification FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA notification FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL ROUTINES IN SCHEMA notification FROM PUBLIC, :command, :query;

GRANT USAGE ON SCHEMA notification TO :command;
GRANT EXECUTE ON FUNCTION notification.record, notification.claim, notification.sent, notification.failed TO :command;
GRANT SELECT, INSERT, UPDATE ON notification.notification TO :command;
