/* `confman completion`: what a shell completes words by, from the tables. */
#include <string.h>
#include "cli/cli_int.h"

/* The next word that may stand behind a command's name, such as `get` of "get KEY|set KEY VALUE";
 * each is told once, for those that begin with the same one stand together. */
static struct span next_verb(const char **at, struct span before)
{
    while (**at) {
        size_t len = cli_alternative(*at), n = 0;
        const char *word = *at;
        *at += len + ((*at)[len] == '|');
        while (n < len && ((word[n] >= 'a' && word[n] <= 'z') || (n && word[n] == '-')))
            n++;
        struct span verb = span_of(word, n);
        if (n && (n == len || word[n] == ' ') && !span_equal(verb, before))
            return verb;
    }
    return SPAN_NONE;
}

static void put_verbs(const struct command *c)
{
    const char *at = c->arguments;
    for (struct span v = SPAN_NONE; (v = next_verb(&at, v)).len > 0;)
        printf(" %.*s", (int)v.len, (const char *)v.data);
}

static void put_options(const struct command *c)
{
    const char *name, *value, *text;
    for (int i = 0; options_at(i, c, &name, &value, &text); i++)
        if (name)
            printf(" --%s", name);
}

static void bash(void)
{
    const struct command *c;
    puts("_confman() {\n"
         "    local word=${COMP_WORDS[COMP_CWORD]} verbs= options=\n"
         "    COMPREPLY=()\n"
         "    if [ \"$COMP_CWORD\" = 1 ]; then");
    printf("        verbs='server etcd version help");
    for (int i = 0; (c = cli_command(i)) != NULL; i++)
        printf(" %s", c->name);
    puts("'\n    else\n        case ${COMP_WORDS[1]} in\n"
         "        server) options=$(confman server --help 2>&1 | grep -oE '^ *--[a-z0-9-]+') ;;");
    for (int i = 0; (c = cli_command(i)) != NULL; i++) {
        printf("        %s) verbs='", c->name);
        put_verbs(c);
        printf("' options='");
        put_options(c);
        puts("' ;;");
    }
    puts("        esac\n"
         "        [ \"$COMP_CWORD\" = 2 ] || verbs=\n"
         "    fi\n"
         "    case $word in -*) verbs=$options ;; esac\n"
         "    COMPREPLY=($(compgen -W \"$verbs\" -- \"$word\"))\n"
         "}\n"
         "complete -o default -F _confman confman");
}

static void zsh(void)
{
    puts("#compdef confman\nautoload -U +X bashcompinit && bashcompinit");
    bash();
}

/* Within quotes of fish: what ends a summary is cut. */
static void fish_text(const char *text)
{
    printf(" -d '");
    for (size_t i = 0, n = cli_summary(text); i < n; i++)
        printf(text[i] == '\'' || text[i] == '\\' ? "\\%c" : "%c", text[i]);
    puts("'");
}

static void fish(void)
{
    static const char first[] = "complete -c confman -n __fish_use_subcommand -f -a";
    const struct command *c;
    const char *name, *value, *text;
    printf("%s server -d 'run a node'\n%s version -d 'what this is'\n", first, first);
    for (int i = 0; (c = cli_command(i)) != NULL; i++) {
        printf("%s %s", first, c->name);
        fish_text(c->text);
        printf("complete -c confman -n 'test (count (commandline -opc)) = 2; and "
               "__fish_seen_subcommand_from %s' -a '", c->name);
        put_verbs(c);
        puts("'");
        for (int o = 0; options_at(o, c, &name, &value, &text); o++) {
            if (!name)
                continue;
            printf("complete -c confman -n '__fish_seen_subcommand_from %s' -l %s%s", c->name, name,
                   value[0] ? " -r" : "");
            fish_text(text);
        }
    }
}

int run_completion(const struct options *o, struct arena *arena)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } shells[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish } };
    (void)arena;
    for (size_t i = 0; i < sizeof(shells) / sizeof(shells[0]); i++)
        if (strcmp(shells[i].name, o->args[0]) == 0) {
            shells[i].print();
            return EXIT_DONE;
        }
    return cli_usage(o);
}
