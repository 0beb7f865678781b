/// What a Deployfile wishes, as data.
package struct Wish: Sendable, Codable, Equatable {
    package var name: String?
    package var infrastructures: [Place]
    package var applications: [Wished]

    /// An infrastructure, without its hosts: those stand with the applications.
    package struct Place: Sendable, Codable, Equatable {
        package var name: String
        package var confirm: Bool
        package var color: Infrastructure.Color
        package var environment: [String: String]
    }

    package struct Wished: Sendable, Codable, Equatable {
        package var form: Unit.Form
        package var name: String
        package var image: String
        package var command: [String]?
        package var settings: [Setting]
        package var pull: Unit.Pull
        package var exchange: Unit.Exchange
        package var patience: Time
        package var steady: Time
        package var keep: Int
        package var file: String?
        package var build: Build?
        package var migrations: Migrations?
        package var postgres: Postgres?
        package var registry: Registry?
        package var backsUp: Bool
        package var hosts: [Machine]
        package var hooks: [Around]
        package var place: String
        package var mistakes: [String]
    }

    /// A hook: when it runs. Its body stays in the Deployfile.
    package struct Around: Sendable, Codable, Equatable {
        package var step: Step
        package var moment: Application.Moment
    }
}

extension Deployment {
    package func wish(in surroundings: Surroundings) -> Wish {
        let roles = infrastructures.first { $0.name == surroundings.infrastructure }?.roles ?? [:]
        let applications = applications(surroundings)
        return Wish(
            name: name,
            infrastructures: infrastructures.map {
                .init(name: $0.name, confirm: $0.confirm, color: $0.color, environment: $0.environment)
            },
            applications: applications.map { $0.wished(in: surroundings, roles: roles) })
    }
}

extension Application {
    fileprivate func wished(in surroundings: Surroundings, roles chosen: [String: [Machine]]) -> Wish.Wished {
        var mistakes: [String] = []
        var settings: [Setting] = []
        for setting in unit.options.flatMap({ $0.settings(in: surroundings) }) {
            if case .mistake(let text) = setting { mistakes.append(text) } else { settings.append(setting) }
        }
        let letters = unit.name.unicodeScalars.allSatisfy {
            $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0) || "_.-".unicodeScalars.contains($0))
        }
        if unit.name.isEmpty || !letters || unit.name.hasPrefix("-") || unit.name.hasPrefix(".") {
            mistakes.append("\"\(unit.name)\" is no name: letters, digits, _ . and - make one")
        }
        if unit.image.isEmpty, unit.form == .container || unit.form == .service { mistakes.append("it has no image") }
        // In the order in which they were said, each once.
        var all: [Machine] = []
        for host in hosts + roles.flatMap({ chosen[$0] ?? [] }) where !all.contains(host) { all.append(host) }
        return Wish.Wished(
            form: unit.form, name: unit.name, image: unit.image, command: unit.command, settings: settings,
            pull: unit.pull, exchange: unit.exchange, patience: unit.patience, steady: unit.steady,
            keep: unit.keep, file: unit.file, build: unit.build, migrations: unit.migrations,
            postgres: unit.postgres, registry: unit.registry, backsUp: backsUp, hosts: all,
            hooks: hooks.map { .init(step: $0.step, moment: $0.moment) }, place: "\(file):\(line)", mistakes: mistakes)
    }
}
