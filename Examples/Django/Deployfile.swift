import Deploy

// Migrated once before the update, and back by `apus rollback`. With `Service` for `Container` it moves into a swarm.
let environment: [Option] = [
    .env("DJANGO_SETTINGS_MODULE", "my_settings"), .env("POSTGRES_HOST", "docker-3"),
    .env("POSTGRES_PASSWORD", secret: .environment("POSTGRES_PASSWORD")),
]

let database = PostgresContainer(
    name: "db", image: "postgres:15",
    options: [
        .publish("5432:5432"), .volume("notes:/var/lib/postgresql/data"),
        .env("POSTGRES_PASSWORD", secret: .environment("POSTGRES_PASSWORD")),
        .health(
            HealthCheck(
                "pg_isready --host 127.0.0.1 --username postgres", interval: .seconds(1), startPeriod: .minutes(1))),
    ], postgres: Postgres(backups: "/var/tmp/apus-backups"))

let django = DjangoContainer(name: "django", image: "project/django:1", options: [.publish("8080:80")] + environment)

let deployment = Deployment("notes") {
    Application(database, hosts: ["docker-3"])
    Application(django, hosts: ["docker-1", "docker-2"])
}
