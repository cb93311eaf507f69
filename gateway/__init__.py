"""SMP gateway: an intermediate data host between plant control systems and NGESO's Single Markets Platform."""
