"""Applications: mail that becomes jobs for other programs, SMS and fax among them, without I/O."""
