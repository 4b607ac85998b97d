"""What this machine has and lacks, and what comes of a camera's topic."""
