// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Which digit is in a picture? The shortest program that does something with libsystole:
//   cc hello.c -o hello $(pkg-config --cflags --libs systole)
//   ./hello digits/digits_int8.tflite digits/pictures/7.pgm [cpu|model|rtl|usb ...]
#include <stdio.h>
#include <systole/systole.h>

enum { PIXELS = 64, CLASSES = 10 };

// The last bytes of an 8x8 picture are its pixels, 0 to 16, and those are the model's input.
static int read_picture(const char *path, unsigned char *pixels) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return 0;
    }
    int read = fseek(file, -PIXELS, SEEK_END) == 0 && fread(pixels, 1, PIXELS, file) == PIXELS;
    fclose(file);
    return read;
}

int main(int argc, char **argv) {
    struct systole_diagnostic diagnostic = {"the model has another input or output", "MODEL", ""};
    struct systole_device *device = NULL;
    struct systole_model *model = NULL;
    struct systole_inference *inference = NULL;
    unsigned char pixels[PIXELS];
    signed char scores[CLASSES];
    if (argc < 3 || !read_picture(argv[2], pixels)) {
        fprintf(stderr, "usage: hello MODEL.tflite PICTURE.pgm [DEVICE]\n");
        return 2;
    }
    enum systole_status status = systole_device_open(argc > 3 ? argv[3] : "model", NULL, &device, &diagnostic);
    if (status == SYSTOLE_OK) {
        status = systole_model_load_file(device, argv[1], &model, &diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = systole_inference_create(model, &inference, &diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = systole_inference_set_input(inference, 0, pixels, sizeof pixels);
    }
    if (status == SYSTOLE_OK) { // scores arrive here
        status = systole_inference_set_output(inference, 0, scores, sizeof scores);
    }
    if (status == SYSTOLE_OK) {
        status = systole_inference_invoke(inference, &diagnostic);
    }
    if (status == SYSTOLE_OK) {
        int digit = 0;
        for (int i = 1; i < CLASSES; i++) {
            digit = scores[i] > scores[digit] ? i : digit;
        }
        printf("%s: a %d, in %llu cycles\n", systole_device_name(device), digit,
               (unsigned long long)systole_inference_cycles(inference));
    } else {
        fprintf(stderr, "hello: %s: %s (%s)\n", systole_status_name(status), diagnostic.what, diagnostic.where);
    }
    systole_inference_free(inference);
    systole_model_free(model);
    systole_device_close(device);
    return systole_exit_code(status);
}
