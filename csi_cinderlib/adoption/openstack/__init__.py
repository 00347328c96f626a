"""Takes over volumes of an OpenStack Cinder, from its database. Reads it without Cinder, and never changes it."""
