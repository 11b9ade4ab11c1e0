GRANT USAGE ON SCHEMA fan_out TO :"order-consumer", :"analytics-consumer", :"notification-consumer";
GRANT EXECUTE ON FUNCTION fan_out.take TO :"order-consumer", :"analytics-consumer", :"notification-consumer";
GRANT SELECT, INSERT, UPDATE ON fan_out.progress TO :"order-consumer", :"analytics-consumer", :"notification-consumer";

GRANT EXECUTE ON FUNCTION fan_out.save TO :"order-consumer";
GRANT SELECT, INSERT, UPDATE ON fan_out.orders TO :"order-consumer";

GRANT SELECT, INSERT, UPDATE ON fan_out.order_minute TO :"analytics-consumer";

GRANT EXECUTE ON FUNCTION fan_out.claim, fan_out.settle TO :"notification-consumer";
GRANT SELECT, INSERT, UPDATE ON fan_out.notification TO :"notification-consumer";
