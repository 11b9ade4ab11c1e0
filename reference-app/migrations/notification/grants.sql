GRANT USAGE ON SCHEMA notification TO :"notification-service";
GRANT EXECUTE ON FUNCTION notification.record, notification.claim, notification.sent, notification.failed TO :"notification-service";
GRANT SELECT, INSERT, UPDATE ON notification.notification TO :"notification-service";
