/* Reads one config, and changes it without overwriting what another has written meanwhile.
 *
 *     cc get.c $(pkg-config --cflags --libs libconfman) -o get
 *     CONFMAN_ENDPOINT=127.0.0.1:2379 ./get app/visits
 */
#include <confman.h>
#include <stdio.h>
#include <stdlib.h>

static int complain(const char *what, const struct confman_error *e)
{
    fprintf(stderr, "%s: %s: %s\n", what, confman_code_name(e->code), e->text);
    return 1;
}

/* Adds one to a number. */
static enum confman_code count(struct confman *c, const char *key, struct confman_error *e)
{
    for (;;) {
        struct confman_config *config = NULL;
        char text[32];
        int64_t version = CONFMAN_ABSENT;
        double number = 0;
        enum confman_code code = confman_get(c, NULL, key, &config, e);
        if (code == CONFMAN_OK) {
            version = config->version;
            number = config->number;
        } else if (code != CONFMAN_NOT_FOUND) {
            return code;
        }
        confman_config_free(config);
        int n = snprintf(text, sizeof(text), "%.0f", number + 1);
        code = confman_put(c, NULL, key, CONFMAN_NUMBER, text, (size_t)n, version, NULL, e);
        if (code != CONFMAN_CONFLICT) /* another was faster: look again */
            return code;
    }
}

int main(int argc, char **argv)
{
    struct confman_options options = CONFMAN_OPTIONS;
    struct confman *c;
    struct confman_error e;
    struct confman_config *config;
    options.endpoints = getenv("CONFMAN_ENDPOINT");
    if (argc != 2) {
        fprintf(stderr, "usage: get KEY\n");
        return 2;
    }
    if (confman_open(&options, &c, &e) != CONFMAN_OK)
        return complain("open", &e);
    int status = 0;
    if (count(c, argv[1], &e) != CONFMAN_OK)
        status = complain("count", &e);
    else if (confman_get(c, NULL, argv[1], &config, &e) != CONFMAN_OK)
        status = complain("get", &e);
    else {
        printf("%s = %s (version %lld, by %s)\n", config->key, config->value,
               (long long)config->version, config->updated_by);
        confman_config_free(config);
    }
    confman_close(c);
    return status;
}
