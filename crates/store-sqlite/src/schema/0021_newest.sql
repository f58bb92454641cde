-- The newest order of an account, by its number: the self-check asks for it every minute.
CREATE INDEX intent_newest ON intent (account, number) WHERE state <> 'denied';
