// Carries the precompiled GoogleTest headers that every test reuses (PerigeeTargets.cmake).
