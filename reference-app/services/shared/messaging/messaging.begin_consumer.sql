-- For the first start of a consumer; later ones change nothing. Events from before all partitions of the inbox are remembered in its default
-- partition: the new consumer may handle them, as long as nothing is deleted there.
CREATE OR REPLACE FUNCTION messaging.begin_consumer(p_consumer text) RETURNS void LANGUAGE sql AS $$
  INSERT INTO messaging.consumer (consumer, history_before)
  SELECT p_consumer, coalesce((SELECT f.before FROM messaging.forgotten f WHERE f.parent = 'inbox'), (SELECT min(p.lower) FROM messaging.partition p WHERE p.parent = 'inbox'))
  WHERE NOT EXISTS (SELECT FROM messaging.consumer c WHERE c.consumer = p_consumer)
  ON CONFLICT DO NOTHING
$$;
